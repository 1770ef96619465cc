// Package race says whether the race detector is in the program. Tests that hold a
// process to little memory leave themselves out then: the detector takes several
// times as much.
package race
