//go:build !unix

package main

const maxRSS = "none"

func cpuSeconds() float64 { return 0 }

func maxRSSBytes() int64 { return 0 }

func settle() {}
