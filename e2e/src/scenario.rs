//! The frame around every test: namespaces that go away, and a folder of facts when it fails.
//!
//! A test is a closure over a [`Scene`]; it fails by an error or by a panic, and both are told in the same way.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Instant,
};

use crate::{
    diagnose,
    environment::environment,
    namespace::{Injection, Namespace},
};

/// What one test has made in the cluster.
#[derive(Debug)]
pub struct Scene {
    name: &'static str,
    namespaces: RefCell<Vec<Rc<Namespace>>>,
}

/// Runs a test. `name` is short and unique: it is part of its namespaces' names and the name of its folder in `$E2E_OUTPUT`.
///
/// # Panics
/// The test fails.
pub fn scenario(name: &'static str, play: impl FnOnce(&Scene) -> anyhow::Result<()>) {
    let start = Instant::now();
    let scene = Scene {
        name,
        namespaces: RefCell::default(),
    };
    let result = catch_unwind(AssertUnwindSafe(|| play(&scene)));
    let took = start.elapsed().as_secs_f32();
    let failure = match result {
        Ok(Ok(())) => {
            eprintln!("{name}: {took:.1} s");
            return;
        }
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => match panic.downcast_ref::<String>() {
            Some(message) => message.clone(),
            None => "it panicked, see above".to_owned(),
        },
    };
    let folder = diagnose::collect(&scene.names(), name);
    if environment().keeps_failures {
        scene
            .namespaces
            .borrow()
            .iter()
            .for_each(|namespace| namespace.keep());
    }
    panic!(
        "{name} failed after {took:.1} s: {failure}\n\nstate of the cluster: {}",
        folder.display()
    );
}

// === impl Scene ===

impl Scene {
    /// A new namespace for this test.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn namespace(&self, injection: Injection) -> anyhow::Result<Rc<Namespace>> {
        let namespace = Rc::new(Namespace::create(self.name, injection)?);
        self.namespaces.borrow_mut().push(Rc::clone(&namespace));
        Ok(namespace)
    }

    fn names(&self) -> Vec<String> {
        let namespaces = self.namespaces.borrow();
        namespaces
            .iter()
            .map(|namespace| namespace.name().to_owned())
            .collect()
    }
}
