// A caller and an API as IBM's documentation writes them, with IBM's SDK as it is published.
// Reads {serverUrl, clientId, secret, audience, tokens} on stdin and prints what the SDK made of each, as the last line.
"use strict";

const express = require("express");
const passport = require("passport");
const {APIStrategy, TokenManager} = require("ibmcloud-appid");

function read() {
	return new Promise((resolve) => {
		let text = "";
		process.stdin.on("data", (chunk) => { text += chunk; });
		process.stdin.on("end", () => resolve(JSON.parse(text)));
	});
}

async function obtain(oauthServerUrl, clientId, secret) {
	try {
		return await new TokenManager({oauthServerUrl, clientId, secret}).getApplicationIdentityToken();
	} catch (error) {
		return {error: error.message};
	}
}

function api(oauthServerUrl, audience) {
	const app = express();
	passport.use(new APIStrategy({oauthServerUrl}));
	app.use(passport.initialize());
	const guard = (options) => passport.authenticate(APIStrategy.STRATEGY_NAME, {session: false, ...options});
	const answer = (req, res) => res.json(req.appIdAuthorizationContext.accessTokenPayload);
	app.get("/any", guard({}), answer);
	app.get("/charge", guard({scope: "charge"}), answer);
	app.get("/audience", guard({audience}), answer);
	return new Promise((resolve) => {
		const listener = app.listen(0, "127.0.0.1", () => resolve(listener));
	});
}

async function main() {
	const told = await read();
	const token = await obtain(told.serverUrl, told.clientId, told.secret);
	const result = {
		token,
		wrongSecret: await obtain(told.serverUrl, told.clientId, "wrong"),
		unknownTenant: await obtain(told.serverUrl + "x", told.clientId, told.secret),
		calls: {},
	};
	const listener = await api(told.serverUrl, told.audience);
	const base = `http://127.0.0.1:${listener.address().port}`;
	for (const [name, value] of Object.entries({...told.tokens, sdk: token.accessToken})) {
		for (const path of ["/any", "/charge", "/audience"]) {
			const response = await fetch(base + path, {headers: {authorization: `Bearer ${value}`}});
			result.calls[name + path] = {
				status: response.status,
				challenge: response.headers.get("www-authenticate"),
				payload: response.ok ? await response.json() : null,
			};
		}
	}
	process.stdout.write("\n" + JSON.stringify(result) + "\n", () => process.exit(0));
}

main();
