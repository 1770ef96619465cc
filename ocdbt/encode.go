package ocdbt

import "encoding/binary"

// encodeNode returns a node of the items in its envelope. The node leaves out the first
// common bytes of all keys.
func encodeNode(items []item, h, common int) []byte {
	size := 0
	var table tableBuilder
	for i := range items {
		v := &items[i].value
		if !v.IsInline() {
			table.add(v.Ref.File)
		}
		size += 16 + len(items[i].key) - common + len(v.Inline)
	}
	b := append(beginEnvelope(nodeMagic, size), byte(h))
	b = table.appendTo(b)
	b = binary.AppendUvarint(b, uint64(len(items)))
	b = appendKeys(b, items, h, common)
	if h > 0 {
		b = appendRefs(b, items, &table)
	} else {
		b = appendValues(b, items, &table)
	}
	return endEnvelope(b)
}

func appendKeys(b []byte, items []item, h, common int) []byte {
	prefix := make([]uint16, len(items))
	prefix[0] = uint16(common)
	for i := 1; i < len(items); i++ {
		prefix[i] = uint16(commonPrefix(items[i-1].key, items[i].key))
		b = binary.AppendUvarint(b, uint64(int(prefix[i])-common))
	}
	for i := range items {
		b = binary.AppendUvarint(b, uint64(len(items[i].key)-int(prefix[i])))
	}
	if h > 0 {
		for i := range items {
			b = binary.AppendUvarint(b, uint64(items[i].common-common))
		}
	}
	for i := range items {
		b = append(b, items[i].key[prefix[i]:]...)
	}
	return b
}

func appendRefs(b []byte, items []item, table *tableBuilder) []byte {
	for i := range items {
		b = binary.AppendUvarint(b, uint64(table.index[items[i].value.Ref.File]))
	}
	for i := range items {
		b = binary.AppendUvarint(b, uint64(items[i].value.Ref.Offset))
	}
	for i := range items {
		b = binary.AppendUvarint(b, uint64(items[i].value.Ref.Length))
	}
	for i := range items {
		b = binary.AppendUvarint(b, items[i].stats.Keys)
	}
	for i := range items {
		b = binary.AppendUvarint(b, items[i].stats.TreeBytes)
	}
	for i := range items {
		b = binary.AppendUvarint(b, items[i].stats.ValueBytes)
	}
	return b
}

func appendValues(b []byte, items []item, table *tableBuilder) []byte {
	for i := range items {
		b = binary.AppendUvarint(b, uint64(items[i].value.Len()))
	}
	for i := range items {
		kind := byte(1)
		if items[i].value.IsInline() {
			kind = 0
		}
		b = append(b, kind)
	}
	for i := range items {
		if v := &items[i].value; !v.IsInline() {
			b = binary.AppendUvarint(b, uint64(table.index[v.Ref.File]))
		}
	}
	for i := range items {
		if v := &items[i].value; !v.IsInline() {
			b = binary.AppendUvarint(b, uint64(v.Ref.Offset))
		}
	}
	for i := range items {
		b = append(b, items[i].value.Inline...)
	}
	return b
}
