// Package layouts holds tests alone: a table whose rows are checkpoints in every
// layout that is written anywhere, in testdata/layouts, and whose columns are the ways
// to read them. It needs no Python; -v prints the table.
//
//	go test ./interop/layouts -run 'TestLayouts$' -v
//
// testdata/layouts.py has made the rows, each by the software whose layout it is.
// TestLayoutsFresh has it make again those that the environment of package interop's
// tests can write.
package layouts
