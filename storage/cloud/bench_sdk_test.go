package cloud_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	tmtypes "github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
)

// library is the parallel transfer of one object by the client library of a cloud.
type library struct {
	save func(ctx context.Context, data []byte) error
	// load fills data.
	load func(ctx context.Context, data []byte) error
}

// What the libraries are compared with moves so many bytes by one request, and so many
// requests at the same time: the defaults of object.Options.
const (
	sdkPart   = 8 << 20
	sdkAtOnce = 16
)

// sdks are the libraries by the name of the cloud, at an address.
var sdks = map[string]func(addr, bucket string) library{"s3": s3SDK, "gcs": gcsParts, "azure": azureSDK}

// sdkHTTP keeps as many connections open as the libraries use, which their defaults do not.
var sdkHTTP = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}

// s3SDK is the transfer manager of the SDK. As over https, its parts have a checksum, and no
// signature of their bytes.
func s3SDK(addr, bucket string) library {
	options := s3Client(addr).Options()
	options.HTTPClient = sdkHTTP
	options.APIOptions = append(options.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	client, key := transfermanager.New(awss3.New(options), func(o *transfermanager.Options) {
		o.PartSizeBytes, o.Concurrency, o.GetObjectType = sdkPart, sdkAtOnce, tmtypes.GetObjectRanges
	}), "sdk"
	return library{
		save: func(ctx context.Context, data []byte) error {
			_, err := client.UploadObject(ctx, &transfermanager.UploadObjectInput{
				Bucket: &bucket, Key: &key, Body: bytes.NewReader(data), ChecksumAlgorithm: tmtypes.ChecksumAlgorithmCrc32c,
			})
			return err
		},
		load: func(ctx context.Context, data []byte) error {
			_, err := client.DownloadObject(ctx, &transfermanager.DownloadObjectInput{Bucket: &bucket, Key: &key, WriterAt: memory(data)})
			return err
		},
	}
}

// memory is an io.WriterAt.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// azureSDK is azblob. Its parts have a CRC64, like ours. It would put 256 MiB by one request, so its
// blob has one byte more.
func azureSDK(addr, bucket string) library {
	key, err := blob.NewSharedKeyCredential(servers.AzureAccount, servers.AzureKey)
	must(childTB{}, err)
	client, err := blockblob.NewClientWithSharedKeyCredential("http://"+addr+"/"+servers.AzureAccount+"/"+bucket+"/sdk", key, &blockblob.ClientOptions{
		ClientOptions: azcore.ClientOptions{Transport: sdkHTTP},
	})
	must(childTB{}, err)
	return library{
		save: func(ctx context.Context, data []byte) error {
			_, err := client.UploadBuffer(ctx, data[:len(data)+1], &blockblob.UploadBufferOptions{
				BlockSize: sdkPart, Concurrency: sdkAtOnce, TransactionalValidation: blob.TransferValidationTypeComputeCRC64(),
			})
			return err
		},
		load: func(ctx context.Context, data []byte) error {
			_, err := client.DownloadBuffer(ctx, data, &blob.DownloadBufferOptions{
				BlockSize: sdkPart, Concurrency: sdkAtOnce, Range: blob.HTTPRange{Count: int64(len(data))},
			})
			return err
		},
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// gcsParts uploads parts as objects, which it composes, and reads ranges: no library of
// Google is a dependency of this module. Its parts have a checksum. It composes at most 32 of
// them, and removes none.
func gcsParts(addr, bucket string) library {
	host := "http://" + addr
	request := func(ctx context.Context, method, url, span string, body, into []byte) error {
		r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		if span != "" {
			r.Header.Set("Range", span)
		}
		if method == http.MethodPost {
			sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(body, castagnoli))
			r.Header.Set("X-Goog-Hash", "crc32c="+base64.StdEncoding.EncodeToString(sum))
		}
		answer, err := sdkHTTP.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode/100 != 2 {
			return fmt.Errorf("%s %s: %s", method, url, answer.Status)
		}
		if _, err = io.ReadFull(answer.Body, into); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}
	// each does something to every part, several at the same time.
	each := func(ctx context.Context, data []byte, do func(ctx context.Context, off int, part []byte) error) error {
		group, ctx := parallel.WithContext(ctx)
		group.SetLimit(sdkAtOnce)
		for off := 0; off < len(data); off += sdkPart {
			group.Go(func() error { return do(ctx, off, data[off:min(off+sdkPart, len(data))]) })
		}
		return group.Wait()
	}
	return library{
		save: func(ctx context.Context, data []byte) error {
			err := each(ctx, data, func(ctx context.Context, off int, part []byte) error {
				return request(ctx, http.MethodPost, fmt.Sprintf("%s/upload/storage/v1/b/%s/o?uploadType=media&name=part-%d", host, bucket, off/sdkPart), "", part, nil)
			})
			if err != nil {
				return err
			}
			type source struct {
				Name string `json:"name"`
			}
			var parts []source
			for off := 0; off < len(data); off += sdkPart {
				parts = append(parts, source{fmt.Sprint("part-", off/sdkPart)})
			}
			text, err := json.Marshal(map[string]any{"sourceObjects": parts})
			if err != nil {
				return err
			}
			return request(ctx, http.MethodPost, host+"/storage/v1/b/"+bucket+"/o/sdk/compose", "", text, nil)
		},
		load: func(ctx context.Context, data []byte) error {
			return each(ctx, data, func(ctx context.Context, off int, part []byte) error {
				span := fmt.Sprintf("bytes=%d-%d", off, off+len(part)-1)
				return request(ctx, http.MethodGet, host+"/storage/v1/b/"+bucket+"/o/sdk?alt=media", span, nil, part)
			})
		},
	}
}
