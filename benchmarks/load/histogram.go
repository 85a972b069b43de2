package main

import "math/bits"

// Values below 64 have a bucket each; above, each power of two has 64, so that none is off by more than 1.6 %.
const halfBuckets = 64

// Histogram of non-negative values.
type Histogram struct {
	counts []uint32
}

func (h *Histogram) add(value int64) {
	if value < 0 {
		value = 0
	}
	index := bucket(uint64(value))
	for index >= len(h.counts) {
		h.counts = append(h.counts, make([]uint32, halfBuckets)...)
	}
	h.counts[index]++
}

// sparse returns the buckets that are not empty, as pairs of index and count.
func (h *Histogram) sparse() [][2]int {
	pairs := [][2]int{}
	for index, count := range h.counts {
		if count > 0 {
			pairs = append(pairs, [2]int{index, int(count)})
		}
	}
	return pairs
}

func bucket(value uint64) int {
	if value < halfBuckets {
		return int(value)
	}
	shift := bits.Len64(value) - 7 // value >> shift is in [64, 128)
	return (shift+1)*halfBuckets + int(value>>uint(shift)) - halfBuckets
}
