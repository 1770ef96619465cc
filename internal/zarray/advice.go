package zarray

import "github.com/go-orbax/orbax/internal/fault"

// AdviseFill advises to take chunks that are not stored for fill value, if the array's writer
// may have left them out. Where it wrote every chunk they are lost, and the advice would lead
// to wrong numbers.
func AdviseFill(err error, sparse bool) error {
	if !sparse {
		return err
	}
	return fault.Advise(err, fault.FillMissing, "FillMissing takes missing chunks for fill values")
}
