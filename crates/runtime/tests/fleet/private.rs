//! Processes that belong to one caller or session.

use std::sync::Arc;

use hayward_mcp::abilities::{Abilities, Ability};
use hayward_runtime::Limits;
use hayward_runtime::fleet::{PrivateError, Wanted};
use hayward_runtime::placement::End;

use crate::rig::{ANSWER, REFUSE, Rig, ended, runs, server, wanted};

#[tokio::test]
async fn each_owner_has_one_which_nobody_else_is_given() {
    let rig = Rig::new();
    let wanted = wanted("a-0", "a", &server(REFUSE, ANSWER));
    let abilities = Abilities::from(Ability::ListRoots);
    let start =
        |owner: &str, wanted: &Wanted| rig.fleet.start_private(owner, wanted.clone(), abilities).unwrap();
    let ann = start("ann", &wanted);
    runs(&ann).await;
    assert!(Arc::ptr_eq(&ann, &start("ann", &wanted)) && !Arc::ptr_eq(&ann, &start("bob", &wanted)));
    assert!(rig.fleet.pick("a").is_none() && rig.fleet.all().is_empty());
    assert_eq!(rig.fleet.private().len(), 2);
    // When the server changes, so does it.
    let newer = start("ann", &Wanted { generation: 2, ..wanted });
    assert!(!Arc::ptr_eq(&ann, &newer));
    assert_eq!(ended(&ann).await, End::Stopped);
    runs(&newer).await;
    rig.fleet.stop_private(&ann);
    assert!(newer.is_running(), "whoever lets go of the older one takes nothing from the newer one");
    rig.fleet.stop_private(&newer);
    assert_eq!(ended(&newer).await, End::Stopped);
    assert_eq!(rig.fleet.private().len(), 1);
    rig.end().await;
}

#[tokio::test]
async fn there_are_so_many_and_an_idle_one_makes_room() {
    let limits =
        Limits { private_max: 3, private_per_server_max: 2, private_idle_ms: 1_000, ..Limits::default() };
    let rig = Rig::with(limits);
    let start = |owner: &str, server_name: &str| {
        let wanted = wanted("x", server_name, &server(REFUSE, ANSWER));
        rig.fleet.start_private(owner, wanted, Abilities::default())
    };
    let first = start("ann", "a").unwrap();
    let in_flight = first.call();
    let second = start("bob", "a").unwrap();
    assert!(matches!(start("cid", "a"), Err(PrivateError::ServerFull { count: 2, .. })));
    start("ann", "b").unwrap();
    // One takes its own place.
    let newer = Wanted { generation: 2, ..wanted("x", "b", &server(REFUSE, ANSWER)) };
    rig.fleet.start_private("ann", newer, Abilities::default()).unwrap();
    assert!(matches!(start("bob", "b"), Err(PrivateError::Full { count: 3 })));
    assert_eq!(ended(&second).await, End::Stopped);
    assert!(!first.is_ended());
    start("cid", "a").unwrap();
    drop(in_flight);
    assert_eq!(ended(&first).await, End::Stopped);
    rig.end().await;
}
