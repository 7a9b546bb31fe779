//! What a process is asked about itself, before its store is open and after.

use jobmeter_daemon::admin::Admin;
use prometheus::Registry;

#[derive(Clone)]
pub struct Base {
    pub registry: Registry,
    /// With that registry.
    pub admin: Admin,
}

impl Default for Base {
    fn default() -> Self {
        let registry = Registry::new();
        let admin = Admin { registries: vec![registry.clone()], ..Admin::default() };
        Self { registry, admin }
    }
}
