//go:build !unix

package main

import "errors"

const maxRSS = "none"

func cpuSeconds() float64 { return 0 }

func maxRSSBytes() int64 { return 0 }

func settle() {}

func allocated(string) (int64, error) { return 0, errors.ErrUnsupported }
