// Package faults is the table of everything that can go wrong between archiverd and
// the services it works with: each action on the outside, by each class of failure, in
// each form that this takes. It also holds what a test of the table needs: a network in
// memory, a store that can be made to fail, and the checks that must hold whatever fails.
//
// The table is data. Tests decide how to run a cell: cmd/archiverd runs all cells in
// process with a clock that jumps, integration_test runs some with the real binary and
// real stores.
package faults

import (
	"github.com/archiverd/archiverd/genesys/genesystest"
)

// Side is the service to which an action sends its request.
type Side int

// The services.
const (
	API Side = iota
	Login
	MediaHost
	Storage
	Ledger
)

// Class is a way of failing.
type Class string

// The classes of failures.
const (
	Refused   Class = "refused"
	Reset     Class = "reset before the effect"
	Lost      Class = "effect done, reply lost"
	Cut       Class = "reply cut off"
	Wrong     Class = "wrong content"
	Stalled   Class = "stalled"
	Wait      Class = "told to wait"
	Gone      Class = "gone"
	Forbidden Class = "forbidden"
	Expired   Class = "expired"
	Failing   Class = "failing"
	NotDone   Class = "accepted and not done"
)

// Action is one kind of request that archiverd sends to a service.
type Action struct {
	Name  string // for people
	Op    string // as genesystest or Store name it; of the ledger, the method
	On    Side
	World World
	Forms [][]Form
}

// World is what an action needs to take place.
type World struct {
	Large   bool // a recording of several parts
	Renew   bool // an access token that has expired
	Media   bool // download_api: media
	ReadAll bool // a store that compares nothing, so that everything is read back
	Fresh   bool // each fresh link leads to a transcode with other bytes
	Left    bool // an unfinished upload of an earlier process
}

// Form is one concrete failure. It sets what fits the side: Effect, Connect, Commit or Cloud.
type Form struct {
	Class  Class
	Name   string
	Effect func(*genesystest.Cloud) genesystest.Effect
	// Connect is how connections to the host end.
	Connect Connection
	// Commit is how a change of the ledger fails.
	Commit Commit
	// Cloud changes how Genesys behaves until the fault is lifted.
	Cloud func(*genesystest.Options)
	// Once: a lasting fault would be no other, or makes no sense.
	Once bool
	// Parts: the upload is left unfinished and unknown, and aborted when it is a day old.
	Parts bool
	// Login: the tokens are lost, and the user has to log in again.
	Login bool
}

// Connection is how a connection fails.
type Connection int

// The ways that connections fail.
const (
	_            Connection = iota
	Unreachable             // nothing answers, for a while
	NotListening            // connection refused
)

// Commit is how a change of the ledger fails.
type Commit int

// The ways that commits fail.
const (
	_        Commit = iota
	DiskFull        // nothing was written
	Unsynced        // written, but the disk reports an error
)

// Cell is one action with one form of failure.
type Cell struct {
	Action
	Form
}

// Cells returns all cells of the table, in the order of its rows.
func Cells() (all []Cell) {
	for _, a := range Actions() {
		for _, forms := range a.Forms {
			for _, f := range forms {
				all = append(all, Cell{a, f})
			}
		}
	}
	return all
}

// Actions returns the rows of the table.
func Actions() []Action {
	return []Action{
		{Name: "reach Genesys' API", On: API, Forms: [][]Form{connections}},
		{Name: "reach Genesys' login service", On: Login, World: World{Renew: true}, Forms: [][]Form{connections}},
		{Name: "reach the media host", On: MediaHost, Forms: [][]Form{connections}},
		{Name: "reach the store", On: Storage, Forms: [][]Form{connections}},

		{Name: "count the inbox", Op: "get_userrecordings_summary", On: API, Forms: [][]Form{api, jsonReplies}},
		{Name: "list the inbox", Op: "get_userrecordings", On: API, Forms: [][]Form{api, jsonReplies, listing}},
		{Name: "look at a recording", Op: "get_userrecording", On: API, Forms: [][]Form{api, jsonReplies, recording}},
		{Name: "ask for a download (transcoding)", Op: "get_userrecording_transcoding", On: API, Forms: [][]Form{api, jsonReplies, download}},
		{Name: "ask for a download (media)", Op: "get_userrecording_media", On: API, World: World{Media: true}, Forms: [][]Form{api, jsonReplies, download}},
		{Name: "ask whose token it is", Op: "get_users_me", On: API, World: World{Renew: true}, Forms: [][]Form{api, jsonReplies, me}},
		{Name: "delete an original", Op: "delete_userrecording", On: API, Forms: [][]Form{api, deletion}},
		{Name: "renew a token", Op: "oauth_token", On: Login, World: World{Renew: true}, Forms: [][]Form{renewal}},
		{Name: "download media", Op: "media_link", On: MediaHost, Forms: [][]Form{link}},
		{Name: "download media, transcoded anew for each link", Op: "media_link", On: MediaHost, World: World{Fresh: true}, Forms: [][]Form{fresh}},

		{Name: "see whether the bucket is there", Op: "check bucket", On: Storage, Forms: [][]Form{s3, listObjects}},
		{Name: "read whose the inbox is", Op: "get owners", On: Storage, Forms: [][]Form{s3, get}},
		{Name: "claim the inbox", Op: "put owners", On: Storage, Forms: [][]Form{s3, put}},
		{Name: "prove the claim", Op: "head owners", On: Storage, Forms: [][]Form{s3, head}},
		{Name: "try whether the store refuses wrong writes", Op: "put doctor", On: Storage, Forms: [][]Form{s3, create}},
		{Name: "find a free key, and prove media", Op: "head media", On: Storage, Forms: [][]Form{s3, head}},
		{Name: "put media", Op: "put media", On: Storage, Forms: [][]Form{s3, put}},
		{Name: "put media into a store that compares nothing", Op: "put media", On: Storage, World: World{ReadAll: true}, Forms: [][]Form{careless}},
		{Name: "write into a store that ignores conditions", Op: "put", On: Storage, Forms: [][]Form{careless[3:]}},
		{Name: "read media back", Op: "get media", On: Storage, World: World{ReadAll: true}, Forms: [][]Form{s3, get}},
		{Name: "put a manifest", Op: "put manifests", On: Storage, Forms: [][]Form{s3, put}},
		{Name: "put a manifest into a store that compares nothing", Op: "put manifests", On: Storage, World: World{ReadAll: true}, Forms: [][]Form{careless}},
		{Name: "find a free key, and prove a manifest", Op: "head manifests", On: Storage, Forms: [][]Form{s3, head}},
		{Name: "list objects", Op: "list objects", On: Storage, Forms: [][]Form{s3, listObjects}},
		{Name: "write the journal", Op: "put journal", On: Storage, Forms: [][]Form{s3, put}},
		{Name: "prove the journal", Op: "head journal", On: Storage, Forms: [][]Form{s3, head}},
		{Name: "begin a multipart upload", Op: "create upload", On: Storage, World: World{Large: true}, Forms: [][]Form{s3Create, createUpload}},
		{Name: "upload a part", Op: "upload part", On: Storage, World: World{Large: true}, Forms: [][]Form{s3, part}},
		{Name: "complete a multipart upload", Op: "complete upload", On: Storage, World: World{Large: true}, Forms: [][]Form{s3, complete}},
		{Name: "abort a multipart upload left by a crash", Op: "abort upload", On: Storage, World: World{Left: true}, Forms: [][]Form{s3, abort}},
		{Name: "look for uploads that nobody knows", Op: "list uploads", On: Storage, Forms: [][]Form{s3, listObjects}},

		{Name: "ledger: take in a page of the listing", Op: "List", On: Ledger, Forms: [][]Form{commits}},
		{Name: "ledger: archived", Op: "archived", On: Ledger, Forms: [][]Form{commits}},
		{Name: "ledger: a deletion is about to be sent", Op: "delete_requested", On: Ledger, Forms: [][]Form{commits}},
		{Name: "ledger: remember an upload", Op: "AddUpload", On: Ledger, World: World{Large: true}, Forms: [][]Form{commits}},
		{Name: "ledger: forget an upload", Op: "RemoveUpload", On: Ledger, World: World{Large: true}, Forms: [][]Form{commits}},
		{Name: "ledger: the inbox's condition", Op: "EditInbox", On: Ledger, Forms: [][]Form{commits}},
		{Name: "ledger: the pass", Op: "AddPass", On: Ledger, Forms: [][]Form{commits}},
	}
}
