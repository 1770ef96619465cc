package handover

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/go-orbax/orbax/internal/fault"
)

// The two sides of a connection prove to each other that they know the secret, which
// itself is never sent:
//
//	listener  32 random bytes
//	dialer    its rank (uint32), 32 random bytes, proof
//	listener  proof
//	dialer    a byte 1: it uses this connection
//
// Then the dialer sends frames; see writeSpan. Numbers are little-endian.

const (
	secretBytes = 32
	nonceBytes  = 32
)

// errStranger is the error of a connection whose other side does not know the secret.
var errStranger = errors.New("the other side does not belong to this load")

// proof returns what one side sends as the proof that it knows the secret.
func proof(secret []byte, side string, nonces []byte, from, to int) []byte {
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "go-orbax load, %s, from %d to %d\n", side, from, to)
	mac.Write(nonces)
	return mac.Sum(nil)
}

// greet is the handshake of process from, which has dialed process to.
func greet(conn io.ReadWriter, secret []byte, from, to int) error {
	nonces := make([]byte, 2*nonceBytes)
	if _, err := io.ReadFull(conn, nonces[:nonceBytes]); err != nil {
		return err
	}
	_, _ = rand.Read(nonces[nonceBytes:]) // does not fail
	hello := binary.LittleEndian.AppendUint32(nil, uint32(from))
	hello = append(hello, nonces[nonceBytes:]...)
	hello = append(hello, proof(secret, "dialer", nonces, from, to)...)
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	theirs := make([]byte, sha256.Size)
	if _, err := io.ReadFull(conn, theirs); err != nil {
		return err
	}
	if !hmac.Equal(theirs, proof(secret, "listener", nonces, from, to)) {
		return errStranger
	}
	_, err := conn.Write([]byte{1})
	return err
}

// answer is the handshake of process to, which listens. It returns the rank of the process
// on the other side.
func answer(conn io.ReadWriter, secret []byte, to int) (from int, err error) {
	nonces := make([]byte, 2*nonceBytes)
	_, _ = rand.Read(nonces[:nonceBytes]) // does not fail
	if _, err := conn.Write(nonces[:nonceBytes]); err != nil {
		return 0, err
	}
	hello := make([]byte, 4+nonceBytes+sha256.Size)
	if _, err := io.ReadFull(conn, hello); err != nil {
		return 0, err
	}
	from = int(binary.LittleEndian.Uint32(hello))
	copy(nonces[nonceBytes:], hello[4:])
	if !hmac.Equal(hello[4+nonceBytes:], proof(secret, "dialer", nonces, from, to)) {
		return 0, errStranger
	}
	if _, err := conn.Write(proof(secret, "listener", nonces, from, to)); err != nil {
		return 0, err
	}
	var use [1]byte
	if _, err := io.ReadFull(conn, use[:]); err != nil {
		return 0, err
	}
	if !bytes.Equal(use[:], []byte{1}) {
		return 0, errStranger
	}
	return from, nil
}

// A frame has the number of bytes that were sent before it on the connection (uint64), its
// own number of bytes (uint32), the CRC-32C of both numbers and the bytes (uint32), and
// the bytes.
const (
	headBytes  = 16
	frameBytes = 1 << 20 // the most that a frame has
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// writeSpan writes data, before which at bytes were sent, in frames.
func writeSpan(w io.Writer, at uint64, data []byte) error {
	for len(data) > 0 {
		frame := data[:min(len(data), frameBytes)]
		var head [headBytes]byte
		binary.LittleEndian.PutUint64(head[:], at)
		binary.LittleEndian.PutUint32(head[8:], uint32(len(frame)))
		binary.LittleEndian.PutUint32(head[12:], crc32.Update(crc32.Checksum(head[:12], castagnoli), castagnoli, frame))
		if _, err := w.Write(head[:]); err != nil {
			return err
		}
		if _, err := w.Write(frame); err != nil {
			return err
		}
		at += uint64(len(frame))
		data = data[len(frame):]
	}
	return nil
}

// readSpan reads data, before which at bytes were received. It expects the frames of
// writeSpan and no others.
func readSpan(r io.Reader, at uint64, data []byte) error {
	for len(data) > 0 {
		frame := data[:min(len(data), frameBytes)]
		var head [headBytes]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return cutShort(err)
		}
		if got, n := binary.LittleEndian.Uint64(head[:]), binary.LittleEndian.Uint32(head[8:]); got != at || n != uint32(len(frame)) {
			return fmt.Errorf("%w: it has sent %d bytes after %d, and %d after %d are expected", fault.ErrCorrupt, n, got, len(frame), at)
		}
		if _, err := io.ReadFull(r, frame); err != nil {
			return cutShort(err)
		}
		if crc32.Update(crc32.Checksum(head[:12], castagnoli), castagnoli, frame) != binary.LittleEndian.Uint32(head[12:]) {
			return fmt.Errorf("%w: a checksum of what it has sent does not match", fault.ErrCorrupt)
		}
		at += uint64(len(frame))
		data = data[len(frame):]
	}
	return nil
}

// cutShort returns the error of a connection that ends too early.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("its connection has ended")
	}
	return err
}
