//! The typed REST client of the control plane.
