"""One process of a job of several JAX processes, which serves as driver.py does.

python process.py ADDRESS SIZE RANK: the process RANK of SIZE, whose process 0 serves
JAX's coordination at ADDRESS. Each process has two CPU devices. All processes get
the same requests in the same order.
"""

import os
import sys

address, size, rank = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import driver
import jax

jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(address, size, rank)

driver.main()
jax.distributed.shutdown()
