"""Lets Orbax use s3:// paths as it uses gs:// paths: by TensorStore's driver, and with
commit_success.txt instead of renames. Orbax itself refuses them."""

import os

from orbax.checkpoint._src.path import gcs_utils
from orbax.checkpoint._src.serialization import tensorstore_utils


def _kvstore(path):
    bucket, key = gcs_utils.parse_gcs_path(path, add_trailing_slash=False)
    # With AWS_ENDPOINT_URL alone the driver waits for ever.
    return {"driver": "s3", "bucket": bucket, "path": key, "endpoint": os.environ["AWS_ENDPOINT_URL"], "aws_region": "us-east-1"}


_normalize = tensorstore_utils._normalize_path

gcs_utils._GCS_PATH_PREFIX += ("s3://",)
gcs_utils.get_kvstore_for_gcs = _kvstore
tensorstore_utils._use_gcs_driver = lambda directory: directory.startswith(gcs_utils._GCS_PATH_PREFIX)
tensorstore_utils._normalize_path = lambda path: _normalize(path).replace("s3:/", "s3://")
