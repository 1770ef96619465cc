package tcp

import (
	"net"
	"testing"
)

func TestListen(t *testing.T) {
	for address, host := range map[string]string{"127.0.0.1": "127.0.0.1", "127.0.0.1:0": "127.0.0.1", "localhost": "localhost", "": "", ":0": ""} {
		l, addresses, err := Network{}.Listen(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		for _, a := range addresses {
			h, port, err := net.SplitHostPort(a)
			if err != nil || port == "0" || h == "" || host != "" && h != host {
				t.Errorf("%q: address %q", address, a)
			}
		}
		if len(addresses) == 0 || len(addresses) > maxAddresses {
			t.Errorf("%q: addresses %v", address, addresses)
		}
	}
}
