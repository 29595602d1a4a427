package record

// Fault is what is wrong with one object of the archive. Whatever looks at objects, the
// proof before a deletion, verify, reconcile, rebuild and the walk of a journal, uses these
// terms. An object counts under one fault: of several, the first in the order of Faults.
type Fault string

// The faults of objects. Meaning explains each.
const (
	FaultMissing     Fault = "missing"
	FaultForeign     Fault = "foreign"
	FaultReturned    Fault = "returned"
	FaultUnfinished  Fault = "unfinished"
	FaultAltered     Fault = "altered"
	FaultForked      Fault = "forked"
	FaultJournal     Fault = "journal"
	FaultManifest    Fault = "manifest"
	FaultHidden      Fault = "hidden"
	FaultOverwritten Fault = "overwritten"
	FaultHold        Fault = "hold"
	FaultLock        Fault = "lock"
	FaultExpires     Fault = "expires"
	FaultUnreadable  Fault = "unreadable"
	FaultKnownBad    Fault = "known bad"
)

// Faults are the faults that count as findings, worst first: all but FaultKnownBad.
var Faults = [...]Fault{
	FaultMissing, FaultForeign, FaultReturned, FaultUnfinished, FaultAltered, FaultForked, FaultJournal, FaultManifest,
	FaultHidden, FaultOverwritten, FaultHold, FaultLock, FaultExpires, FaultUnreadable,
}

// Meaning explains the fault to a person.
func (f Fault) Meaning() string {
	switch f {
	case FaultMissing:
		return "the store does not have the recorded version"
	case FaultForeign:
		return "at its key is something that archiverd did not write there"
	case FaultReturned:
		return "the recording was erased or disposed of, and its object is there again: give the same order again, which removes it"
	case FaultUnfinished:
		return "the recording's erasure or disposal began and did not end: run the same command again"
	case FaultAltered:
		return "size, checksum or bytes are not the recorded ones"
	case FaultForked:
		return "an object of a journal that follows the same object as another one"
	case FaultJournal:
		return "the inbox's journal is not the unbroken chain that was written"
	case FaultManifest:
		return "the manifest can't be read, or disagrees with the ledger"
	case FaultHidden:
		return "the recorded version is there, under a delete marker"
	case FaultOverwritten:
		return "the recorded version is there, under a newer one"
	case FaultHold:
		return "a case holds the recording, and the store does not hold the object: archiverd hold set holds it again"
	case FaultLock:
		return "its retention is shorter or weaker than recorded"
	case FaultExpires:
		return "a lifecycle rule will remove it before its retention ends"
	case FaultUnreadable:
		return "the store works, but can't give this object"
	case FaultKnownBad:
		return "the store kept other bytes than were sent; archiverd noticed, and stored the recording under another key"
	}
	return ""
}
