//! Tests of selectors, in both directions.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::kinds::{server, user};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn labels_are_wanted_in_every_way_that_the_field_knows() {
    let home = labels(&[("team", "home"), ("tier", "1"), ("empty", "")]);
    for (selector, expect) in [
        ("team=home", true),
        ("team==home", true),
        ("team = home , tier=1", true),
        ("team=work", false),
        ("team!=work", true),
        ("team!=home", false),
        ("missing!=x", true),
        ("missing=x", false),
        ("missing=", false),
        ("empty=", true),
        ("team in (home, work)", true),
        ("team in (work)", false),
        ("team notin (work)", true),
        ("missing notin (work)", true),
        ("team notin (home)", false),
        ("team", true),
        ("missing", false),
        ("!missing", true),
        ("!team", false),
        ("team=home,tier in (1,2),!missing,empty", true),
        ("team=home,tier in (2,3)", false),
    ] {
        assert_eq!(Labels::parse(selector).unwrap().matches(&home), expect, "{selector}");
    }
}

#[test]
fn a_path_leads_to_a_single_value_or_is_an_error() {
    let read = |text: &str| Fields::parse(&server::DESCRIPTOR, text);
    for good in [
        "transport=STDIO",
        "healthCheck.tool!=x",
        "source.template=a",
        "source.snapshot.anything=a",
        "labels.team=a",
        "status.phase=RUNNING",
        "replicas!=0",
        "version=7",
    ] {
        assert!(read(good).is_ok(), "{good}: {:?}", read(good));
    }
    for bad in [
        "source.templat!=x",
        "env!=1",
        "healthCheck!=x",
        "transport.x!=y",
        "name.x!=y",
        "labels!=a",
        "status=a",
    ] {
        let error = read(bad).unwrap_err();
        assert!(error.message.contains("no single value"), "{bad}: {error}");
    }
}

#[test]
fn a_selector_that_cannot_be_read_is_an_error_and_never_everything() {
    for bad in [
        "",
        " ",
        ",",
        "a,",
        ",a",
        "a,,b",
        "a=b=c",
        "=b",
        "!",
        "!=b",
        "a in",
        "a in (",
        "a in x)",
        "a in ((x))",
        "a on (x)",
        "in (x)",
        "a b",
        "a=(x)",
        "a in (x) y",
        "a>1",
        "ä=b",
        "a=b c",
        "*",
        "!!a",
        "a;b",
    ] {
        assert!(Labels::parse(bad).is_err(), "{bad:?}");
    }
    assert!(Labels::parse(&"a=b,".repeat(2000)).is_err());
    assert!(Labels::parse(&vec!["a"; REQUIREMENTS + 1].join(",")).is_err());
}

#[test]
fn members_are_compared_as_they_are_shown() {
    let shown = json!({"name": "ha", "transport": "STDIO", "replicas": 2, "source": {"template": "t"},
        "env": [1], "status": {"phase": "RUNNING"}});
    for (selector, expect) in [
        ("transport=STDIO", true),
        ("transport!=STDIO", false),
        ("replicas=2,name==ha", true),
        ("metadata.name=ha", true),
        ("metadata.name!=ha", false),
        ("spec.transport=STDIO", true),
        ("source.template=t", true),
        ("source.version=t", false),
        ("status.phase=RUNNING", true),
        ("description=", true),
        ("packageName!=x", true),
    ] {
        assert_eq!(
            Fields::parse(&server::DESCRIPTOR, selector).unwrap().matches(&shown),
            expect,
            "{selector}"
        );
    }
    let ann = json!({"email": "ann@x.org", "name": "Ann"});
    for selector in ["metadata.name=ann@x.org", "email=ann@x.org", "name=Ann"] {
        assert!(Fields::parse(&user::DESCRIPTOR, selector).unwrap().matches(&ann), "{selector}");
    }
}

#[test]
fn members_that_a_kind_does_not_have_are_an_error_and_never_everything() {
    for bad in [
        "",
        "transport",
        "transport=",
        "transprt!=STDIO",
        "a=b",
        ".=x",
        "name..x=y",
        "=x",
        "name=a=b",
        "name=x,",
        "name in (a)",
    ] {
        let read = Fields::parse(&server::DESCRIPTOR, bad);
        assert_eq!(read.is_err(), bad != "transport=", "{bad:?}");
    }
    let error = Fields::parse(&server::DESCRIPTOR, "transprt!=STDIO").unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("did you mean `transport`?"));
}

proptest! {
    #[test]
    fn no_text_makes_selectors_panic(text in "[ab!=,() in]{0,20}|\\PC{0,20}") {
        let read = (Labels::parse(&text), Fields::parse(&server::DESCRIPTOR, &text));
        if let (Ok(labels), _) = &read {
            // What asks for a label isn't fulfilled by none, and what asks for none is not by all of them.
            let asks = !text.contains('!') && !text.contains("notin");
            prop_assert!(!(asks && labels.matches(&BTreeMap::new())), "{}", text);
        }
    }
}
