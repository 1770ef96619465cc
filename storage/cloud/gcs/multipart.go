package gcs

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
)

// multipartBody returns the body of an upload of data with its attributes in one request,
// and its content type. The body has data itself, no copy.
func multipartBody(a attributes, data [][]byte) ([][]byte, string, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return nil, "", err
	}
	var random [24]byte // so long that the data does not have it
	rand.Read(random[:])
	boundary := "orbax-" + hex.EncodeToString(random[:])
	head := "--" + boundary + "\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n" + string(text) +
		"\r\n--" + boundary + "\r\nContent-Type: " + a.ContentType + "\r\n\r\n"
	b := make([][]byte, 0, len(data)+2)
	b = append(b, []byte(head))
	b = append(b, data...)
	b = append(b, []byte("\r\n--"+boundary+"--\r\n"))
	return b, "multipart/related; boundary=" + boundary, nil
}
