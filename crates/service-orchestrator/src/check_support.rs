//! Refuses definitions whose health check this build cannot make. `http://` and `https://` need the feature `http`.

use service_api::{Code, Problem};
use service_core::config::Service;
use service_core::health::Endpoint;
use service_probe::Prober;

/// Checks definitions before they come into force.
///
/// # Errors
/// [`Code::BadDefinition`] of the first service with such a check; the other services are in [`Problem::others`].
pub(crate) fn check_support<'s>(services: impl IntoIterator<Item = &'s Service>) -> Result<(), Problem> {
    check(services, Prober::supports)
}

fn check<'s>(
    services: impl IntoIterator<Item = &'s Service>,
    supports: impl Fn(&Endpoint) -> bool,
) -> Result<(), Problem> {
    let refused = services.into_iter().filter(|service| !service.endpoint.as_ref().is_none_or(&supports));
    let mut problems = refused.map(|service| {
        let kind = service.endpoint.as_ref().map_or("", Endpoint::kind);
        Problem::new(
            Code::BadDefinition,
            format!("cannot check `{}` over {kind}: this program was built without it", service.name),
        )
        .help("build it with the feature `http` of `service-orchestrator`, or use `tcp://` or `exec:`")
    });
    let Some(mut first) = problems.next() else { return Ok(()) };
    first.others = problems.collect();
    Err(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_core::Name;

    #[test]
    fn a_check_that_the_build_lacks_is_refused_with_the_feature_that_brings_it() {
        let service = |name: &str, endpoint: &str| Service {
            endpoint: Some(Endpoint::parse(endpoint).unwrap()),
            ..Service::new(Name::new(name).unwrap())
        };
        let services =
            [service("cache", "tcp://h:1"), service("web", "http://h/"), service("api", "https://h/")];
        let is_tcp = |endpoint: &Endpoint| endpoint.kind() == "tcp";
        let problem = check(&services, is_tcp).unwrap_err();
        assert_eq!(problem.code, Code::BadDefinition);
        assert_eq!(problem.message, "cannot check `web` over http: this program was built without it");
        assert!(problem.help.unwrap().contains("the feature `http`"));
        assert!(problem.others[0].message.contains("`api` over https"), "{:?}", problem.others);
        assert!(check(&services[..1], is_tcp).is_ok());
        assert!(check(&services, |_| true).is_ok());
    }
}
