// Package convert makes checkpoints of safetensors files, safetensors files of checkpoints,
// and checkpoints of other checkpoints. The data passes through memory a few chunks at a time.
//
//	report, err := convert.ToSafetensors(ctx, "/ckpt/step_100", "model.safetensors", convert.Options{})
//	report, err := convert.FromSafetensors(ctx, "model.safetensors", "/ckpt/imported", convert.Options{})
//	report, err := convert.Copy(ctx, "/ckpt/v0/100", "/ckpt/v1/100", convert.Options{})
//
// Paths are those of the local disk, URLs of registered schemes, or names in the stores that
// [Options] have in From and To. A checkpoint and the safetensors files that one is made of may
// be in any store; a safetensors file is made on the local disk.
//
// A destination is complete or as it was before, whatever fails. Errors have the path that
// they are about, and match the errors of package orbax.
//
// # The entry __orbax__
//
// Tensors are named by the paths of the leaves, their keys joined with dots. What safetensors
// cannot express goes to the file's __metadata__, so that the checkpoint that is made of the
// file again has the same tree:
//
//   - A leaf that is a string is an entry under the leaf's path.
//
//   - Members of the custom metadata that are strings are entries under their names, unless a
//     leaf has the name.
//
//   - The entry [Entry] has the rest, as a JSON document:
//
//     {"version": 1, "leaves": [{"keys": ["layers", 0, "w"], "kind": "scalar", "prng": "…"}, …], "custom": …}
//
// The member leaves lists the leaves that are not simply arrays in nested dicts. Their keys are
// strings in dicts and numbers in sequences. The kind is "scalar" (a tensor of rank 0),
// "string", "bytes" (a tensor of uint8 of rank 1), "None", "Dict", "List" or "Tuple"; the last
// four have no data. It is left out of arrays. The member prng names the implementation of a
// JAX PRNG key, whose data is the tensor. The member custom has the rest of the custom metadata.
// Numbers that JSON does not have are the words NaN, Infinity and -Infinity, as Python's json
// module writes them. A file that needs none of this has no such entry.
//
// A reader refuses other versions. What the entry lists and the file does not have, as other
// programs drop what they do not know, is left out; see [Report].
package convert
