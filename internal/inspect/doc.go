// Package inspect says what a checkpoint is, for people and in JSON: it lists, checks, hashes
// and compares checkpoints and runs, and finds what an address such as
// "params/dense.kernel[:2, -1]" means. The command line prints what it returns, and other
// programs can serve the same. It prints nothing itself, and knows no flags: advice about
// an error is data ([Hint]), which a program puts in its own words.
//
//	in := inspect.Inspector{}
//	listing, err := in.List(ctx, "/ckpt/step_100", "")
//	verdict := in.Verify(ctx, "/ckpt/step_100")
package inspect
