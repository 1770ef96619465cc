package azure

import (
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/minio/crc64nvme"
)

// checksum returns the CRC64 of buffers. It goes with the request, and the service refuses
// bytes that do not fit.
//
// The polynomial is that of NVMe. hash/crc64 reads its tables eight times for eight bytes,
// which would take as much time as all the rest of an upload.
func checksum(buffers [][]byte) blob.TransferValidationType {
	var sum uint64
	for _, p := range buffers {
		sum = crc64nvme.Update(sum, p)
	}
	return blob.TransferValidationTypeCRC64(sum)
}
