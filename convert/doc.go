// Package convert makes checkpoints of safetensors files, safetensors files of
// checkpoints, and checkpoints of other checkpoints. It holds a few chunks of the data in
// memory at a time; it holds only PRNG keys, scalars, byte strings and JSON documents as a
// whole.
//
//	report, err := convert.ToSafetensors(ctx, "/ckpt/step_100", "model.safetensors", convert.Options{})
//	report, err := convert.FromSafetensors(ctx, "model.safetensors", "/ckpt/imported", convert.Options{})
//	report, err := convert.Copy(ctx, "/ckpt/v0/100", "/ckpt/v1/100", convert.Options{})
//
// Paths are paths on the local disk, URLs of registered schemes, or names in the stores
// that [Options] has in From and To. Checkpoints, and safetensors files as sources, may
// be in any store. A safetensors file is made on the local disk.
//
// After a failure the destination is as it was before, or complete. Errors have the path
// that they concern, and match the errors of package orbax.
//
// # The entry __orbax__
//
// A tensor's name is the path of its leaf: the keys, joined with dots. Data that
// safetensors cannot express goes to the file's __metadata__, so that a checkpoint that
// is made of the file again has the same tree:
//
//   - A leaf that is a string is an entry under the leaf's path.
//
//   - A member of the custom metadata that is a string is an entry under its name, unless a
//     leaf has the name.
//
//   - The entry [Entry] has the rest, as a JSON document:
//
//     {"version": 1, "leaves": [{"keys": ["layers", 0, "w"], "kind": "scalar", "prng": "…"}, …], "custom": …}
//
// The member leaves lists all leaves except arrays in nested dicts. Their keys are
// strings in dicts and numbers in sequences. The kind is "scalar" (a tensor of rank 0),
// "string", "bytes" (a tensor of uint8 of rank 1), "None", "Dict", "List" or "Tuple"; the
// last four have no data. Arrays have no kind. The member prng names the implementation
// of a JAX PRNG key; the tensor is the key's data. The member custom has the rest of the
// custom metadata. Numbers that JSON does not have are the words NaN, Infinity and
// -Infinity, as Python's json module writes them. A file that needs none of this has no
// such entry.
//
// A reader refuses other versions. Other programs drop tensors and entries that they do
// not know. A leaf that the entry lists and the file does not have is left out; see
// [Report].
package convert
