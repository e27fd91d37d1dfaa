//! `ReleaseInstance`: one verdict for all ids of a call, whatever becomes of each.

use std::sync::Arc;

use super::super::accounts::Key;
use super::super::answer::Reply;
use super::super::call::Call;
use super::super::inventory::InstanceState;
use super::super::refusal::Refusal;
use super::{Effect, World};

/// What is wrong with an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    Gone,
    Foreign,
    Mismatched,
    Locked,
}

/// The required parameter that is not there.
pub(super) fn missing(call: &Call) -> Option<&'static str> {
    if call.product_code.is_none() {
        Some("ProductCode")
    } else if call.subscription_type.is_none() {
        Some("SubscriptionType")
    } else {
        call.instance_ids.is_empty().then_some("InstanceIds")
    }
}

impl World<'_> {
    /// Releases the ids of a call that fits. The first bad id decides the code.
    pub(super) fn release(&mut self, key: &Key, call: &Call, number: u64) -> Effect {
        let mut refused: Option<(Defect, Vec<&str>)> = None;
        let mut good = Vec::with_capacity(call.instance_ids.len());
        for id in &call.instance_ids {
            match self.defect(id, key, call) {
                None => good.push(Arc::clone(id)),
                Some(defect) => {
                    let (first, named) = refused.get_or_insert_with(|| (defect, Vec::new()));
                    if *first == defect {
                        named.push(id);
                    }
                }
            }
        }
        if refused.is_some() && self.atomic {
            good.clear();
        }
        self.released.extend(good.iter().map(|id| (Arc::clone(id), number)));
        let reply = match refused {
            None => Reply::released(true),
            Some((defect, named)) if self.name_ids => Reply::Refused(defect.refusal(&named)),
            Some((defect, _)) => Reply::Refused(defect.refusal(&[])),
        };
        Effect { reply, released: good }
    }

    fn defect(&self, id: &Arc<str>, key: &Key, call: &Call) -> Option<Defect> {
        let instance = self.inventory.find(id).filter(|_| !self.released.contains_key(id));
        let Some(instance) = instance else { return Some(Defect::Gone) };
        if instance.owner.is_some_and(|owner| *owner != *key.account) {
            Some(Defect::Foreign)
        } else if !instance.fits(call) {
            Some(Defect::Mismatched)
        } else {
            (instance.state == InstanceState::Locked).then_some(Defect::Locked)
        }
    }
}

impl Defect {
    fn refusal(self, ids: &[&str]) -> Refusal {
        let (code, message) = match self {
            Self::Gone => ("ResourceNotExists", "The specified resource does not exist."),
            Self::Foreign => ("InvalidOwner", "The specified resource does not belong to this account."),
            // Judged. Not ResourceNotExists, which a client would take for released; and an id is at fault, not the request.
            Self::Mismatched => {
                ("InvalidInstanceId", "The specified InstanceId is not of this product, subscription type and region.")
            }
            Self::Locked => ("ResourceStatusError", "The status of the specified resource does not allow this."),
        };
        match ids {
            [] => Refusal::bad_request(code, message),
            ids => Refusal::bad_request(code, format!("{message} InstanceIds: {}", ids.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::accounts::Keys;
    use super::super::super::call::Action;
    use super::super::super::inventory::{Inventory, Released};
    use super::super::super::settings::SandboxSettings;
    use super::*;

    struct Fixture {
        keys: Keys,
        inventory: Inventory,
        released: Released,
    }

    impl Fixture {
        fn new(rules: &[&str]) -> Self {
            let instances = rules.iter().map(|rule| rule.parse().unwrap()).collect();
            let settings = SandboxSettings { instances, ..SandboxSettings::default() };
            let inventory = Inventory::new(&settings).unwrap();
            Self { keys: Keys::new(&settings), inventory, released: Released::new() }
        }

        /// The code, and how many ids were released.
        fn release(&mut self, atomic: bool, parameters: &[(&str, &str)]) -> (String, usize) {
            let parameters: Vec<_> = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let call = Call::read(Action::ReleaseInstance, &parameters);
            let mut world = World { inventory: &self.inventory, released: &mut self.released, atomic, name_ids: false };
            let effect = world.release(self.keys.get(0), &call, 7);
            (effect.reply.code().to_owned(), effect.released.len())
        }
    }

    fn said(code: &str, released: usize) -> (String, usize) {
        (code.to_owned(), released)
    }

    #[test]
    fn an_instance_is_released_once() {
        let mut fixture = Fixture::new(&[]);
        assert_eq!(fixture.release(false, &[("InstanceIds", "a,b")]), said("Success", 2));
        assert_eq!(fixture.release(false, &[("InstanceIds", "b,c")]), said("ResourceNotExists", 1));
        assert_eq!((fixture.released["b"], fixture.released.len()), (7, 3));
    }

    #[test]
    fn one_bad_id_keeps_its_batch_from_being_released_only_if_calls_are_atomic() {
        let mut fixture = Fixture::new(&["locked-* state=locked", "foreign-* owner=stranger", "*"]);
        let batch = [("InstanceIds", "a,locked-1,foreign-1,b")];
        assert_eq!(fixture.release(true, &batch), said("ResourceStatusError", 0));
        assert!(fixture.released.is_empty());
        assert_eq!(fixture.release(false, &batch), said("ResourceStatusError", 2));
    }

    #[test]
    fn an_instance_of_another_product_type_or_region_is_not_released() {
        let rule = "i-1 product=ecs subscription_type=Subscription region=cn-hangzhou";
        let wanted = [("ProductCode", "ecs"), ("SubscriptionType", "Subscription"), ("Region", "cn-hangzhou")];
        for (place, wrong) in ["rds", "PayAsYouGo", "cn-beijing"].into_iter().enumerate() {
            let mut call = wanted.to_vec();
            call.push(("InstanceIds", "i-1"));
            call[place].1 = wrong;
            assert_eq!(Fixture::new(&[rule]).release(true, &call), said("InvalidInstanceId", 0), "{wrong}");
        }
        // A call without the optional region speaks of every region.
        let call = [wanted[0], wanted[1], ("InstanceIds", "i-1")];
        assert_eq!(Fixture::new(&[rule]).release(true, &call), said("Success", 1));
    }
}
