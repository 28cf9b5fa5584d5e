//! The functions a template may call: Go's own, Istio's and the common sprig ones.
