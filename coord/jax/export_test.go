package jax

import (
	"context"
	"testing"
)

// WantNoKeys fails the test if one of the directories has keys.
func WantNoKeys(t *testing.T, c *Client, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		entries, err := c.list(t.Context(), dir)
		if err != nil || len(entries) > 0 {
			t.Errorf("keys are left in %s: %v, %v", dir, entries, err)
		}
	}
}

// Keys returns the keys in a directory and their values.
func (c *Client) Keys(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := c.list(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for _, e := range entries {
		keys[e.Key] = string(e.Value)
	}
	return keys
}

// SetKey gives a key a value.
func (c *Client) SetKey(t *testing.T, key, value string) {
	t.Helper()
	if err := c.set(t.Context(), key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

// Call makes any call, as this package never does.
func (c *Client) Call(ctx context.Context, path string) error {
	var in, out []byte
	return c.conn.Invoke(ctx, path, &in, &out)
}

// ErrForbidden is the error of calls that would do harm.
var ErrForbidden = errForbidden
