// Worker that answers the page's requests from the exported model, in numbers; the page adds words and pictures.

import { Forecaster } from "../runtime/forecast.js";
import { Labels } from "../runtime/labels.js";
import { Language } from "../runtime/language.js";
import { unpacked } from "../runtime/network.js";
import { explain } from "./label_effects.js";
import { replace, unroll } from "./replacements.js";

const TASKS = { language: Language, classify: Labels, regress: Labels, tag: Labels, forecast: Forecaster };
const EXPLAIN = { explain, replace, unroll };

let answering; // the model, with a method for each other kind of request

onmessage = ({ data: { model, number, path, body } }) => {
  if (model) {
    answering = new TASKS[model.config.task](model, unpacked(model.weights, model.shapes, model.width));
    return;
  }
  try {
    const kind = path.slice("/v1/".length);
    postMessage({ number, reply: EXPLAIN[kind] ? EXPLAIN[kind](answering, body) : answering[kind](body) });
  } catch (error) {
    postMessage({ number, reply: { error: { message: error.message }, refused: error.refused }, status: 400 });
  }
};
