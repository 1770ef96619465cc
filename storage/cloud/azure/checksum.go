package azure

import (
	"hash/crc64"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
)

// crcTable is the table of the CRC64 that Azure uses.
var crcTable = crc64.MakeTable(0x9A6C9329AC4BC9B5)

// checksum returns the CRC64 of buffers. It goes with the request, and the service refuses
// bytes that do not fit.
func checksum(buffers [][]byte) blob.TransferValidationType {
	var sum uint64
	for _, p := range buffers {
		sum = crc64.Update(sum, crcTable, p)
	}
	return blob.TransferValidationTypeCRC64(sum)
}
