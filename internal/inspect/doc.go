// Package inspect describes checkpoints for people and in JSON. It lists, checks, hashes
// and compares checkpoints and runs, and finds the content at an address such as
// "params/dense.kernel[:2, -1]". The command line prints its results, and other programs
// can serve them. The package prints nothing itself and has no flags. Its advice about an
// error is data, a [Hint], which a program puts into words.
//
//	in := inspect.Inspector{}
//	listing, err := in.List(ctx, "/ckpt/step_100", "")
//	verdict := in.Verify(ctx, "/ckpt/step_100")
package inspect
