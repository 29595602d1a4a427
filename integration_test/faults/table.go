// Package faults is the table of everything that can go wrong between archiverd and
// the services it works with: each action on the outside, by each class of failure, in
// each form that this takes. It also holds what a test of the table needs: a network in
// memory, a store that can be made to fail, and the checks that must hold whatever fails.
//
// The table is data. How a cell is run is the affair of the tests: in process with a
// clock that jumps for all of them (cmd/archiverd), with the real binary and real stores
// for some (integration_test).
package faults

import (
	"github.com/archiverd/archiverd/integration_test/genesyssim"
)

// Side is the service that an action asks.
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

// Action is one thing that archiverd asks of the outside.
type Action struct {
	Name  string // for people
	Op    string // as genesyssim or Store name it; of the ledger, the method
	On    Side
	World World
	Forms [][]Form
}

// World is what an action needs to happen at all.
type World struct {
	Large   bool // a recording of several parts
	Renew   bool // an access token that has expired
	Media   bool // download_api: media
	ReadAll bool // a store that compares nothing, so that everything is read back
	Fresh   bool // each fresh link leads to a transcode with other bytes
	Left    bool // an upload that an earlier process left under way
}

// Form is one concrete failure. One of Effect, Connect and Fail is set, as fits the side.
type Form struct {
	Class  Class
	Name   string
	Effect func(*genesyssim.Cloud) genesyssim.Effect
	// Connect is how connections to the host end.
	Connect Connection
	// Commit is how a change of the ledger fails.
	Commit Commit
	// Cloud changes how Genesys behaves until the fault is lifted.
	Cloud func(*genesyssim.Options)
	// Once: a lasting fault would be no other, or makes no sense.
	Once bool
	// Login: the tokens are gone, and only the user can bring new ones.
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

// Cell is one action under one form.
type Cell struct {
	Action
	Form
}

// Cells are all of the table, in the order of its rows.
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

// Actions are the rows of the table.
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
	}
}
