package bolt

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// pageTree walks the pages of the file without bbolt, because bbolt trusts the offsets in
// a page. bbolt's own check runs in a goroutine of its own, where a wrong offset ends the
// process. So pageTree checks all pages before bbolt's check reads them.
//
// A page begins with its id (8 bytes), its kind (2), its number of elements (2) and the
// number of further pages that belong to it (4). Its elements follow, of 16 bytes each,
// then the data that they point to.
type pageTree struct {
	header
	file io.ReaderAt
	seen map[uint64]bool
}

const (
	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	bucketElement = 0x01 // of a leaf: its value is a bucket
)

var order = binary.NativeEndian

// check reads the list of free pages and every page of every bucket.
func (t *pageTree) check() error {
	if t.Freelist != math.MaxUint64 { // else the file has no list of free pages
		page, err := t.read(t.Freelist)
		if err != nil {
			return err
		}
		ids := uint64(order.Uint16(page[10:]))
		if ids == math.MaxUint16 {
			ids = 1 + order.Uint64(page[16:])
		}
		if order.Uint16(page[8:]) != freelistPage || ids > uint64(len(page)-16)/8 {
			return fmt.Errorf("page %d holds no list of free pages", t.Freelist)
		}
	}
	return t.walk(t.Root)
}

func (t *pageTree) walk(id uint64) error {
	page, err := t.read(id)
	if err == nil {
		err = t.elements(page)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// read returns a page. It refuses a page that was read before: a circle of pages would
// never end.
func (t *pageTree) read(id uint64) ([]byte, error) {
	var head [16]byte
	if id < 2 || id >= t.Pages || t.seen[id] {
		return nil, fmt.Errorf("is outside the file, or is referred to twice")
	}
	t.seen[id] = true
	if _, err := t.file.ReadAt(head[:], int64(id)*int64(t.PageSize)); err != nil {
		return nil, err
	}
	more := uint64(order.Uint32(head[12:]))
	if order.Uint64(head[:]) != id || id+more >= t.Pages {
		return nil, fmt.Errorf("holds another page's id, or extends beyond the file")
	}
	page := make([]byte, (1+more)*uint64(t.PageSize))
	_, err := t.file.ReadAt(page, int64(id)*int64(t.PageSize))
	return page, err
}

// elements checks all elements of a page, or of a small bucket inside an element.
func (t *pageTree) elements(page []byte) error {
	if len(page) < 16 {
		return fmt.Errorf("a small bucket is cut short")
	}
	kind := order.Uint16(page[8:])
	if kind != branchPage && kind != leafPage {
		return fmt.Errorf("has the unknown kind %#x", kind)
	}
	for i := range int(order.Uint16(page[10:])) {
		at := 16 + 16*i
		if at+16 > len(page) {
			return fmt.Errorf("has no room for its elements")
		}
		if err := t.element(kind, page[at:]); err != nil {
			return err
		}
	}
	return nil
}

// element checks the element at the beginning of e, which extends to the page's end.
func (t *pageTree) element(kind uint16, e []byte) error {
	word := func(i int) uint64 { return uint64(order.Uint32(e[4*i:])) }
	if kind == branchPage {
		if word(0)+word(1) > uint64(len(e)) {
			return fmt.Errorf("has a key outside the page")
		}
		return t.walk(order.Uint64(e[8:]))
	}
	value := word(1) + word(2)
	end := value + word(3)
	switch {
	case end > uint64(len(e)):
		return fmt.Errorf("has an element outside the page")
	case word(0)&bucketElement == 0:
		return nil
	case end-value < 16:
		return fmt.Errorf("has a bucket that is cut short")
	}
	if root := order.Uint64(e[value:]); root != 0 {
		return t.walk(root)
	}
	return t.elements(e[value+16 : end])
}
