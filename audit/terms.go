package audit

import "github.com/archiverd/archiverd/state"

// Class is where a recording stands between Genesys, ledger and bucket. A recording has
// exactly one: the first of Classes that applies. record.Fault has the terms for the objects
// themselves.
type Class string

// The classes of recordings. Those from ClassVanished on follow from the ledger's state.
const (
	ClassMissing  Class = "missing"
	ClassDiffers  Class = "differs"
	ClassLock     Class = "lock"
	ClassUnknown  Class = "unknown"
	ClassVanished Class = "vanished"
	ClassFailed   Class = "failed"
	ClassWaiting  Class = "waiting"
	ClassGone     Class = "gone"
	ClassDeleted  Class = "deleted"
	ClassWaived   Class = "waived"
	ClassErased   Class = "erased"
	ClassExpired  Class = "expired"
	ClassArchived Class = "archived"
)

// Classes are all classes in their precedence: what is wrong with the archive comes before
// what the ledger says.
var Classes = [...]Class{ClassMissing, ClassDiffers, ClassLock, ClassUnknown, ClassVanished, ClassFailed, ClassWaiting, ClassGone, ClassDeleted, ClassWaived, ClassErased, ClassExpired, ClassArchived}

// Meaning explains the class to a person.
func (c Class) Meaning() string {
	switch c {
	case ClassMissing:
		return "in the ledger but not in the bucket"
	case ClassDiffers:
		return "in the bucket, but not as the ledger has it: altered, hidden, overwritten, to expire …"
	case ClassLock:
		return "its retention is shorter or weaker than recorded"
	case ClassUnknown:
		return "in the bucket but not in the ledger, or newer than in the ledger"
	case ClassWaiting:
		return state.StateListed.Meaning()
	}
	return state.State(c).Meaning()
}

// Wrong reports whether the archive itself is not what it should be.
func (c Class) Wrong() bool {
	return c == ClassMissing || c == ClassDiffers || c == ClassLock || c == ClassUnknown
}

// ObjectKind is what an object below an inbox's media or manifests is.
type ObjectKind string

// The kinds of objects.
const (
	ObjectNamed    ObjectKind = "named"
	ObjectAdopt    ObjectKind = "to adopt"
	ObjectLeftover ObjectKind = "leftover"
	ObjectBad      ObjectKind = "known bad"
	ObjectUnknown  ObjectKind = "unknown"
	ObjectReturned ObjectKind = "returned"
	ObjectForeign  ObjectKind = "foreign"
	ObjectRemoved  ObjectKind = "removed"
)

// ObjectKinds are all kinds.
var ObjectKinds = [...]ObjectKind{ObjectNamed, ObjectAdopt, ObjectLeftover, ObjectBad, ObjectUnknown, ObjectReturned, ObjectForeign, ObjectRemoved}

// Meaning explains the kind to a person.
func (k ObjectKind) Meaning() string {
	switch k {
	case ObjectNamed:
		return "named by the ledger"
	case ObjectAdopt:
		return "from an interrupted transfer; the next run takes it into the ledger"
	case ObjectLeftover:
		return "from an interrupted transfer of a version that a later one replaced"
	case ObjectBad:
		return "the ledger records its key as bad; the recording is stored under another"
	case ObjectUnknown:
		return "written by archiverd, but the ledger does not know it"
	case ObjectReturned:
		return "of a recording that was erased or disposed of: give the same order again, which removes it"
	case ObjectForeign:
		return "not written by archiverd"
	case ObjectRemoved:
		return "removed while reconcile looked at the bucket"
	}
	return ""
}

// Wrong reports whether no object of the kind should be in an archive.
func (k ObjectKind) Wrong() bool {
	return k == ObjectUnknown || k == ObjectReturned || k == ObjectForeign
}
