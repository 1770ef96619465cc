// Package ocdbt reads and writes databases in the OCDBT format of TensorStore
// (optionally-cooperative distributed B+tree).
//
// OCDBT is a key-value store in a directory: a manifest, and data files that hold B+tree
// nodes and values. The package handles the tree and not the bytes of large values. When
// it reads, it yields for each key either the value itself or a [Ref] to the range of a
// file that holds the value. When it writes, it takes the same. It reaches the files
// through a [Source] and a [Placer], so that they may be anywhere.
//
// To read the newest version of a database:
//
//	db, err := ocdbt.Open(ctx, ocdbt.FS(os.DirFS(dir)))
//	if err != nil {
//		return err
//	}
//	for entry, err := range db.Entries(ctx, "params/") {
//		if err != nil {
//			return err
//		}
//		fmt.Println(entry.Key, entry.Value.Len())
//	}
//
// To write a database, store the values first, then build the tree over them with
// [WriteTree], and store the bytes of [Manifest] last, as "manifest.ocdbt".
//
// The package writes a database once and adds no versions to an existing one. If a
// database has several versions, it reads the newest.
//
// Errors match, with errors.Is, sentinels of package orbax: ErrCorrupt for bytes that
// violate the format and for missing files, ErrUnsupported for features of later formats.
//
// TensorStore's documentation of its "ocdbt" key-value store driver describes the format.
// Comments use its names.
package ocdbt
