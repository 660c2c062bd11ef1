// Has the browser make a passkey, or sign in with one, and sends the form with the answer. Where it can do neither the
// button stays hidden. On a sign-in page passkeys also appear among the suggestions for the user name.
const form = document.getElementById("passkey-form");
const field = form.elements.credential;
const { create, request } = field.dataset;
let waiting = new AbortController();

async function ask(mediation) {
  waiting.abort();
  waiting = new AbortController();
  const { signal } = waiting;
  try {
    const answer = create
      ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(create)), signal })
      : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(request)), mediation, signal });
    field.value = JSON.stringify(answer);
    form.submit();
  } catch (error) {
    // The person changed their mind, or the device has no passkey: everything else on the page still works.
    if (error.name !== "AbortError" && error.name !== "NotAllowedError") throw error;
  }
}

if (window.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  form.querySelector("[hidden].actions").hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  if (request) {
    PublicKeyCredential.isConditionalMediationAvailable?.().then((able) => able && ask("conditional"));
  }
}
