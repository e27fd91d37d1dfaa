//! Source 2: a role taken on with the token of an OIDC provider, as pods of a Kubernetes cluster do (RRSA). Names from
//! Python `utils/auth_util.py`; the call itself is `sts`.

use super::search::{Ask, Found, Miss};
use super::sts::{Assume, Proof, Role, StsAddress};
use super::surroundings::Surroundings;

const ROLE_ARN: &str = "ALIBABA_CLOUD_ROLE_ARN";
const PROVIDER_ARN: &str = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN";
const TOKEN_FILE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";
const SESSION_NAME: &str = "ALIBABA_CLOUD_ROLE_SESSION_NAME";

/// All three variables make the source, as in Python's `enable_oidc_credential`. The role's ARN alone is no sign of it: it
/// serves other sources too.
pub fn look(surroundings: &Surroundings) -> Result<Found, Miss> {
    let demanded = |name: &str| surroundings.variable(name).ok_or_else(|| format!("{name} is not set"));
    let begun = surroundings.variable(PROVIDER_ARN).is_some() || surroundings.variable(TOKEN_FILE).is_some();
    let miss = |problem| if begun { Miss::Broken(problem) } else { Miss::Absent(problem) };
    let (arn, provider_arn) = (demanded(ROLE_ARN).map_err(miss)?, demanded(PROVIDER_ARN).map_err(miss)?);
    let proof = Proof::Token { provider_arn, file: demanded(TOKEN_FILE).map_err(miss)?.into() };
    let address = StsAddress::default().url(surroundings).map_err(Miss::Broken)?;
    let role = Role::new(arn, surroundings.variable(SESSION_NAME));
    Ok(Found::Ask(Ask::Assume(Assume { role, proof, address })))
}
