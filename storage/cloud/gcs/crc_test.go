package gcs

import "testing"

func TestJoinCRC(t *testing.T) {
	b := make([]byte, 5000)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	for _, cut := range []int{0, 1, 7, 8, 2500, 4999, 5000} {
		got := joinCRC(crcOf([][]byte{b[:cut]}), crcOf([][]byte{b[cut:]}), int64(len(b)-cut))
		if want := crcOf([][]byte{b}); got != want {
			t.Errorf("joined at %d: %08x, want %08x", cut, got, want)
		}
	}
	// More bytes than 32 bits count.
	a, c := crcOf([][]byte{b[:9]}), crcOf([][]byte{b[9:30]})
	const many = 1<<34 + 5
	if left, right := joinCRC(joinCRC(a, c, many), a, many), joinCRC(a, joinCRC(c, a, many), 2*many); left != right {
		t.Errorf("joined from the left %08x, from the right %08x", left, right)
	}
	if got := crcText(crcOf([][]byte{[]byte("1234567"), []byte("89")})); got != "4waSgw==" {
		t.Errorf("the CRC32C of 123456789 is %s, want 4waSgw== (e3069283)", got)
	}
}
