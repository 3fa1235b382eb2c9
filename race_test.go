//go:build race

package main

// raceDetector is on, and takes memory of its own.
const raceDetector = true
