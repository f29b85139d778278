// openid-client 6: discovery, token, introspection, revocation. allowInsecureRequests: http, on loopback.
import * as client from "openid-client";

const { WATCHWORD_ISSUER, WATCHWORD_CLIENT_ID, WATCHWORD_CLIENT_SECRET, AUTH_METHOD } = process.env;
const authentication = { client_secret_basic: client.ClientSecretBasic, client_secret_post: client.ClientSecretPost };

const discover = (secret) =>
  client.discovery(new URL(WATCHWORD_ISSUER), WATCHWORD_CLIENT_ID, {}, authentication[AUTH_METHOD](secret), {
    algorithm: "oauth2",
    execute: [client.allowInsecureRequests],
  });

const refusal = (work) =>
  work.then(
    () => "nothing was refused",
    (error) => `${error.constructor.name} ${error.error ?? error.cause?.[0]?.parameters?.error}`,
  );

const config = await discover(WATCHWORD_CLIENT_SECRET);
const answer = await client.clientCredentialsGrant(config, { scope: "payments:charge" });
const spare = await client.clientCredentialsGrant(config, { scope: "payments:charge" });
const before = await client.tokenIntrospection(config, spare.access_token);
await client.tokenRevocation(config, spare.access_token);
const after = await client.tokenIntrospection(config, spare.access_token);

const told = {
  token: answer.access_token,
  wrong_secret: await refusal(client.clientCredentialsGrant(await discover("wrong"), {})),
  scope_refused: await refusal(client.clientCredentialsGrant(config, { scope: "ungranted" })),
  introspected: [before.active, before.scope],
  revoked: after,
};
process.stdout.write(JSON.stringify(told));
