package handler

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// maxProtoDepth is the number of levels to which messages may be nested. Python's parser
// of the text format reaches 329 levels, less the calls that the program is in already:
// it takes three of the thousand calls that Python allows for each level.
const maxProtoDepth = 256

// checkProtoDepth refuses a message with more than left levels. It must run before the
// text is made: each line is indented, so the text of a chain of messages grows with the
// square of its length. The entries of maps are levels, as they are in the text. So is
// the message in an Any, which the text spells out.
func checkProtoDepth(m protoreflect.Message, left int) error {
	if left <= 0 {
		return fmt.Errorf("messages are nested more than %d levels deep", maxProtoDepth)
	}
	if m.Descriptor().FullName() == "google.protobuf.Any" {
		if m = spelledOut(m); m == nil {
			return nil
		}
		return checkProtoDepth(m, left-1)
	}
	var err error
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			err = checkEntriesDepth(fd, v.Map(), left-1)
		case fd.Message() == nil:
		case fd.IsList():
			for i := 0; i < v.List().Len() && err == nil; i++ {
				err = checkProtoDepth(v.List().Get(i).Message(), left-1)
			}
		default:
			err = checkProtoDepth(v.Message(), left-1)
		}
		return err == nil
	})
	return err
}

// checkEntriesDepth does for the entries of a map what checkProtoDepth does for a
// message.
func checkEntriesDepth(fd protoreflect.FieldDescriptor, entries protoreflect.Map, left int) error {
	if left <= 0 {
		return fmt.Errorf("messages are nested more than %d levels deep", maxProtoDepth)
	}
	if fd.MapValue().Message() == nil {
		return nil
	}
	var err error
	entries.Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
		err = checkProtoDepth(v.Message(), left-1)
		return err == nil
	})
	return err
}

// spelledOut returns the message in an Any. It returns nil if the text contains the bytes
// of that message instead: the program does not know its type, or the bytes are not of
// that type.
func spelledOut(a protoreflect.Message) protoreflect.Message {
	fields := a.Descriptor().Fields()
	t, err := protoregistry.GlobalTypes.FindMessageByURL(a.Get(fields.ByName("type_url")).String())
	if err != nil {
		return nil
	}
	m := t.New()
	err = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(a.Get(fields.ByName("value")).Bytes(), m.Interface())
	if err != nil {
		return nil
	}
	return m
}
