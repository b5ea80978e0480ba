// Worker that answers the page's requests from the exported model, in numbers; the page adds words and pictures.

import { Language } from "./language.js";
import { unpacked } from "./network.js";

const TASKS = { language: Language };

let answering; // the model, with a method for each kind of request

onmessage = ({ data: { model, number, path, body } }) => {
  if (model) {
    answering = new TASKS[model.config.task](model, unpacked(model.weights, model.shapes, model.width));
    return;
  }
  try {
    postMessage({ number, reply: answering[path.slice("/v1/".length)](body) });
  } catch (error) {
    postMessage({ number, reply: { error: { message: error.message }, refused: error.refused }, status: 400 });
  }
};
