package state

// InboxCopy is all that a ledger keeps of one inbox beside its entries and uploads.
type InboxCopy struct {
	Inbox     Inbox // with all that the ledger keeps itself
	Token     Token
	Passes    []Pass  // newest first
	Events    []Event // oldest first, with their numbers
	LastEvent uint64  // the number that was given last
}
