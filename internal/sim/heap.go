package sim

import "cmp"

// event is when something happens to the one with that number.
type event struct {
	at     int64
	number int32
}

func (e event) compare(other event) int {
	if e.at != other.at {
		return cmp.Compare(e.at, other.at)
	}
	return cmp.Compare(e.number, other.number)
}

// heap has its least event first. container/heap would make replays slower by its interfaces.
type heap []event

func (h *heap) push(e event) {
	*h = append(*h, e)
	items, i := *h, len(*h)-1
	for ; i > 0 && e.compare(items[(i-1)/2]) < 0; i = (i - 1) / 2 {
		items[i] = items[(i-1)/2]
	}
	items[i] = e
}

func (h *heap) pop() event {
	first, last, items := (*h)[0], (*h)[len(*h)-1], (*h)[:len(*h)-1]
	*h = items
	i := 0
	for below := 1; below < len(items); below = 2*i + 1 {
		if below+1 < len(items) && items[below+1].compare(items[below]) < 0 {
			below++
		}
		if last.compare(items[below]) <= 0 {
			break
		}
		items[i] = items[below]
		i = below
	}
	if len(items) > 0 {
		items[i] = last
	}
	return first
}
