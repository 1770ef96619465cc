// Package embedded runs an etcd server in the program, for trials and tests. A group whose
// processes must outlive each other needs a cluster of its own.
//
//	server, err := embedded.Start(ctx, embedded.Options{Dir: dir})
//	…
//	defer server.Close()
//	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}})
package embedded

import (
	"context"
	"fmt"
	"net/url"

	"go.etcd.io/etcd/server/v3/embed"
)

// Options choose where the server is.
type Options struct {
	// Dir is the directory for its data, which takes about 130 MB. It must be new, or one
	// of an earlier server.
	Dir string
	// Address is the host and port at which clients reach it; "" means a free port of the
	// loopback device.
	Address string
	// Forget says that the server does not sync its data to the disk, which makes it
	// faster; after a crash of the machine its data are lost.
	Forget bool
}

// Server is a running server.
type Server struct{ etcd *embed.Etcd }

// Start starts a server, and returns when it answers.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	c := embed.NewConfig()
	c.Dir = o.Dir
	c.LogLevel = "fatal" // errors are returned; it also logs its end as errors
	c.UnsafeNoFsync = o.Forget
	client := url.URL{Scheme: "http", Host: o.Address}
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls = []url.URL{peer}
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("etcd server: %w", err)
	}
	s := &Server{etcd}
	select {
	case <-etcd.Server.ReadyNotify():
		return s, nil
	case err = <-etcd.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Close()
	return nil, fmt.Errorf("etcd server: %w", err)
}

// Endpoint returns the host and port at which clients reach the server.
func (s *Server) Endpoint() string { return s.etcd.Clients[0].Addr().String() }

// Close stops the server. Its data stay in its directory.
func (s *Server) Close() error {
	s.etcd.Close()
	return nil
}
