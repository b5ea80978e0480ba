// Worker that answers the page's requests from the exported model, with the replies of the server.

import { Language } from "./language.js";
import { unpacked } from "./network.js";

let answering; // the model, with a method for each kind of request

onmessage = ({ data: { model, number, path, body } }) => {
  if (model) {
    answering = new Language(model, unpacked(model.weights, model.shapes, model.width));
    return;
  }
  try {
    postMessage({ number, reply: answering[path.slice("/v1/".length)](body) });
  } catch (error) {
    postMessage({ number, reply: { error: { message: error.message } }, status: 400 });
  }
};
