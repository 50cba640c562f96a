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
