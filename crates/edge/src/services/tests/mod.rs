mod admission;
mod bed;
mod hostile;
mod kernel;
mod passage;
mod tls;
