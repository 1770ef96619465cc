"""Writes fill.json.gz: what the real TensorStore makes of fill values.

Run with tensorstore 0.1.86 and ml_dtypes installed:

    python gen_fill.py

Each entry has a format, a dtype, the name by which the document calls it, and
for each spelling of a fill value in JSON the bytes of the element in
hexadecimal, null where TensorStore does not open the array.
"""

import gzip
import json

import tensorstore as ts

DTYPES = """bool int2 int4 int8 int16 int32 int64 uint8 uint16 uint32 uint64
float4_e2m1fn float8_e3m4 float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz
float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float16 bfloat16 float32 float64
complex64 complex128""".split()

# Separated by two spaces or a new line.
VALUES = r"""
null  0  1  -1  1.0  1.5  -0.0  3e0  1e400  1e39  -1e39  65520  65519  1e5  448  464  465  500  7  8
-8  -9  127  128  255  256  1e30  9223372036854775807  9223372036854775808  -9223372036854775808
18446744073709551615  18446744073709551616  true  false  "true"  "1"  "1.5"  ""  "x"  "NaN"  "nan"
"-NaN"  "+NaN"  "Infinity"  "-Infinity"  "+Infinity"  "inf"  "Inf"  "0x0"  "0x1"  "0x7f"  "0x7fc0"
"0x7fc00000"  "0x7fc00001"  "0xffffffff"  "0X7fc00000"  "0x7FC00000"  "0x7ff8000000000000"
"0x7ff8000000000001"  "0x100000000"  "0xff"  "0xffff"  "0x3c00"  "0x0000"  "0x"  "0xzz"  "AAAAAA=="
"AACAPw=="  "AQ=="  "AQA="  "AQAAAA=="  "AQAAAAAAAAA="  "AACAPwAAAEA="  "AAAAAAAA8D8AAAAAAAAAQA=="
"AACAPw"  [0]  [1,2]  [1.5,-0.0]  ["NaN","Infinity"]  ["0x7fc00001","0x3f800000"]  ["NaN",1]
["x",1]  [1,2,3]  {}  []  [true,1]  [1e400,0]  [1e39,0]  "AA=="  1e-400  1e-46  1e-8  0.1  0.3
448.5  480  57344  61440  61439  240  248  15  15.5  16  6  100  5e-324  "1e3"  "(1+2j)"  [[1,2]]
[1]  16777217  1.0000000596046448  33554433  9007199254740993  2049  257.0  258.000001  3.14159  6.5
-448  -500  0.0625  0.001  "+1"  " 1"  "1 "  "\t1"  "\n1\n"  "-1"  "-0"  "+-1"  "1e400"  "-1e400"
"1e39"  "1e-400"  "0x1p3"  "0x1.8"  "0x.8"  "0x1.8p1"  "-0x1"  "+0x1"  "0x1p1000"  "0x1p2000"
"0x10000000000000000000"  "1_000"  "0x1_0"  "infinity"  "INFINITY"  "NAN"  "nan(1)"  "0b1"  "1."
".5"  "."  "1.e1"  "1e"  "1e+5"  "1E5"  "1f"  "0x1p"  "0xg"  "1,5"  "00012"  "1\u0000"  "\u00a01"
" "  "\u000b1"  "0X1P3"  "0x1.8P+1"  "0x1p-1074"  "+.5"  "-.5e-3"  "0x1.00000000000008p0"
"0x1.0000018p0"  "16777217"  "257.000001"  257.000001  1152921573326323713  1152921573326323712
"1152921573326323713"  -1152921573326323713  1e18  1e19  9.3e18  1.8e19  1.8446744073709552e19
9007199254740994.0  -1e18  -9.223372036854775808e18  9.223372036854775807e18  1.0e2  9.2e18  -9.3e18
127.0  128.0  -128.0  -129  -129.0  255.0  256.0  65535  65535.0  65536  32767  32768  2147483647
4294967295  4294967296  1.0000001  -1e-400  -0  1e0  -0.5  0.5  464.0001  464.00000001
65519.99999999  65520.0000001  1.0009765625  1.00048828125  1.000488281251  1.00048828125000001
2.98e-8  2.9802322387695312e-08  2.9802322387695316e-08  3.5  0.25  0.75  0.2500001  0.25000000001
5  4.99999  5.0000000001  1e-38  1e-39  5.877e-39  2.9e-39  1e38  1.7e38  2.6e38  3.4e38  3.5e38
1.42  1.41  "0x01"  "0x001"  "0x7"  "0x7F"  "0x7fC0"  "0x0000000000000001"  "0x00000000000000001"
"0x-1"  "0x+1"  "0x 1"  ["1.5","0x10"]  ["0x","1"]  [1,"-Infinity"]  [null,1]  [1,true]  "AQ"  "AQ="
"A Q=="  "AQ==\n"  "AQ= ="  "/w=="  "_w=="  "AR=="  "AAAA"  "AAECAwQFBgc="  "AAECAwQFBgc"
"AAECAwQFBgcICQoLDA0ODw=="  "AAECAwQFBgcICQoLDA0ODw"  "AA ECAwQFBgcICQoLDA0ODw=="
"AAECAwQFBgcICQoLDA0ODw="  "AAECAwQFBgcICQoLDA0OD."  "AAECAwQFBgcICQoLDA0ODw.."  "/+__AAAAAAA="
"-_AAAAAAAAA="  "D/"  "Dw=="  "1A=="  "AQ...."  "AQ..."  "AQ.."  "AQ."  "AQ=."  "="  "AQI="
1.0842021724855044e-19  1.6263032587282567e-19  1.3010426069826053e-19  1.0299920638612292e-19
2.168404344971009e-19  3.035766082959412e-19  4.393971214770676e+57  4.7078263015400106e+57
6.277101735386681e+57  -3.1385508676933404e+57  1.8446744073709552e+19  5.421010862427522e-20
1.626194838511008e-19
"""
VALUES = [v for line in VALUES.split("\n") for v in line.split("  ") if v]


def name2(dtype, order="<"):
    dt = ts.dtype(dtype).numpy_dtype
    if dt.isbuiltin != 1:
        return dtype
    return dt.newbyteorder(order).str


def document(fmt, dtype, name, value):
    if fmt == 2:
        return (f'{{"chunks":[1],"compressor":null,"dtype":"{name}","fill_value":{value},'
                f'"filters":null,"order":"C","shape":[1],"zarr_format":2}}')
    endian = ',"configuration":{"endian":"little"}' if ts.dtype(dtype).numpy_dtype.itemsize > 1 else ""
    return (f'{{"chunk_grid":{{"configuration":{{"chunk_shape":[1]}},"name":"regular"}},'
            f'"chunk_key_encoding":{{"name":"default"}},"codecs":[{{"name":"bytes"{endian}}}],'
            f'"data_type":"{name}","fill_value":{value},"node_type":"array","shape":[1],"zarr_format":3}}')


def fill(fmt, dtype, name, value):
    driver, key = {2: ("zarr", ".zarray"), 3: ("zarr3", "zarr.json")}[fmt]
    context = ts.Context()
    store = {"driver": "memory"}
    kvs = ts.KvStore.open(store, context=context).result()
    kvs.write(key, document(fmt, dtype, name, value).encode()).result()
    try:
        t = ts.open({"driver": driver, "kvstore": store}, context=context, open=True).result()
    except ValueError:
        return None
    return t.read().result().tobytes().hex()


entries = []
for fmt in (2, 3):
    names = [(d, name2(d) if fmt == 2 else d) for d in DTYPES]
    if fmt == 2:
        names += [(d, name2(d, ">")) for d in DTYPES if name2(d, ">")[0] == ">"]
    for dtype, name in names:
        entries.append(dict(format=fmt, dtype=dtype, name=name,
                            fill={v: fill(fmt, dtype, name, v) for v in VALUES}))

text = "[\n" + ",\n".join(json.dumps(e, separators=(",", ":")) for e in entries) + "\n]\n"
with open("fill.json.gz", "wb") as f:
    f.write(gzip.compress(text.encode(), mtime=0))
