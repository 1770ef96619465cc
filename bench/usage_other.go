//go:build !linux

package main

import "errors"

func memoryNow() (n int64, source string) { return memoryPeak(maxRSS), maxRSS }

func memoryPeak(string) int64 { return maxRSSBytes() }

func evict(string) error { return errors.ErrUnsupported }
