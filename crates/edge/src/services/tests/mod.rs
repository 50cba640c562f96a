mod bed;
mod gate;
mod hostile;
mod kernel;
mod passage;
mod tls;
