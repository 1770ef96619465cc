package s3

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcOf returns the CRC32C of buffers, as S3 writes it.
func crcOf(buffers [][]byte) string {
	var sum uint32
	for _, p := range buffers {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}
