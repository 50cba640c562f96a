variable "region" {
  type    = string
  default = "us-east-1"
}

variable "name" {
  description = "Prefix of every name."
  type        = string
  default     = "orders"
}

variable "cidr" {
  type    = string
  default = "10.30.0.0/16"
}

variable "zone" {
  description = "Public DNS zone."
  type        = string
  default     = "shop.test"
}

variable "image_tag" {
  type    = string
  default = "1"
}

variable "tasks" {
  type    = number
  default = 2
}

variable "maintenance" {
  description = "What /maintenance answers."
  type        = string
  default     = "back soon"
}

variable "health_path" {
  type    = string
  default = "/health"
}

variable "office_cidr" {
  description = "Who may reach the second listener."
  type        = string
  default     = "203.0.113.0/24"
}

variable "log_days" {
  type    = number
  default = 7
}

variable "record_ttl_seconds" {
  type    = number
  default = 300
}

variable "release" {
  description = "A tag of everything that can have one."
  type        = string
  default     = "1"
}

variable "images_kept" {
  type    = number
  default = 10
}

variable "database_password" {
  type      = string
  default   = "battery staple"
  sensitive = true
}

variable "log_level" {
  type    = string
  default = "info"
}

variable "discovery_ttl_seconds" {
  type    = number
  default = 10
}

variable "stock_tasks_max" {
  type    = number
  default = 4
}

variable "processor_target_percent" {
  type    = number
  default = 60
}

variable "errors_max" {
  description = "Answers with 5xx in a minute before it is an alarm."
  type        = number
  default     = 10
}
