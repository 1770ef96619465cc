package zarray

import "github.com/go-orbax/orbax/internal/fault"

// AdviseFill advises the reader to fill missing chunks, if the array's writer may have
// left them out. If the writer wrote every chunk, missing chunks are lost, and the advice
// would lead to wrong numbers.
func AdviseFill(err error, sparse bool) error {
	if !sparse {
		return err
	}
	return fault.Advise(err, fault.FillMissing, "FillMissing gives missing chunks the fill value")
}
